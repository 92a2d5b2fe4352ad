import type { DynamicModule } from '@nestjs/common';
import { Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { HandedFiles, type Logger } from '@wharfie/shared';
import { Blobs } from './domain/blobs.js';
import { Catalog } from './domain/catalog.js';
import { Manifests } from './domain/manifests.js';
import { Referrers } from './domain/referrers.js';
import { Tags } from './domain/tags.js';
import { Uploads } from './domain/uploads.js';
import { BlobsController } from './http/blobs.controller.js';
import { CatalogController } from './http/catalog.controller.js';
import { IdentityGuard } from './http/identity.guard.js';
import { ManifestsController } from './http/manifests.controller.js';
import { OciErrorFilter } from './http/oci-error.filter.js';
import { ReferrersController } from './http/referrers.controller.js';
import { TagsController } from './http/tags.controller.js';
import { LOGGER } from './http/tokens.js';
import { UploadLocations } from './http/upload-location.js';
import { UploadsController } from './http/uploads.controller.js';
import { VersionController } from './http/version.controller.js';
import type { StorageDriver } from './storage/storage-driver.js';

@Module({})
export class AppModule {
  /** Wires the domain to one storage. The domain knows nothing of Nest, so it is put together here by hand. */
  static with(storage: StorageDriver, secret: Buffer, logger: Logger): DynamicModule {
    const blobs = new Blobs(storage);
    const tags = new Tags(storage);
    const referrers = new Referrers(storage, tags);
    return {
      module: AppModule,
      controllers: [
        VersionController,
        BlobsController,
        UploadsController,
        ManifestsController,
        TagsController,
        ReferrersController,
        CatalogController,
      ],
      providers: [
        { provide: LOGGER, useValue: logger },
        { provide: HandedFiles, useValue: new HandedFiles(secret) },
        { provide: UploadLocations, useValue: new UploadLocations(secret) },
        { provide: Blobs, useValue: blobs },
        { provide: Tags, useValue: tags },
        { provide: Referrers, useValue: referrers },
        { provide: Catalog, useValue: new Catalog(storage) },
        { provide: Uploads, useValue: new Uploads(storage, blobs) },
        { provide: Manifests, useValue: new Manifests(storage, blobs, tags, referrers) },
        { provide: APP_GUARD, useClass: IdentityGuard },
        { provide: APP_FILTER, useClass: OciErrorFilter },
      ],
    };
  }
}
